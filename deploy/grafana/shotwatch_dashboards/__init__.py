"""Grafana's dashboards as code; `make dashboards` writes them as JSON beside their provisioning."""
