"""Run the service: `python -m shotwatch_query`."""

from shotwatch_query.service import run

if __name__ == "__main__":
    run()
