from mutants import Mutants

MUTANTS = Mutants("network")
breaks = MUTANTS.breaks
