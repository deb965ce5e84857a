"""The detection benchmark: how many anomalies the detector finds, at how many false alarms an hour."""
