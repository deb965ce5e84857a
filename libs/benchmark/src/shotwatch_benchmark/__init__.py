"""The detection benchmark: how much the detector finds, at how many false alarms an hour."""
