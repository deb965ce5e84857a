"""What has changed, slowly, and whether it matters."""
