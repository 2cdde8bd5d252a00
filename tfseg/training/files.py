"""What a training writes into its run directory, by name."""

BEST, LAST = "model.keras", "last.keras"
HISTORY = "history.csv"
LOGS, STATE = "logs", "state"
