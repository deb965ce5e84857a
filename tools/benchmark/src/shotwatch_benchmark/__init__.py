"""The detection benchmark: how many anomalies the detector finds, at how many false alarms an hour."""

from shotwatch_training import matplotlib_settings as matplotlib_settings
