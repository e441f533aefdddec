"""The engine's records in the shapes, names and formats of the Engine API. Pure functions: no handler's business."""
