"""What a feature is (`spec`), a list of features for each kind of device, and all of them (`catalogue`)."""
