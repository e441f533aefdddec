from mutants import Mutants

MUTANTS = Mutants("runtime")
breaks = MUTANTS.breaks
