"""The command `shotwatch`."""

import typer

from shotwatch_cli.commands.audit import audit
from shotwatch_cli.commands.benchmark import measure_detection
from shotwatch_cli.commands.bucket import bucket
from shotwatch_cli.commands.calibrate import noise, reference
from shotwatch_cli.commands.dataset import dataset
from shotwatch_cli.commands.dead import dead
from shotwatch_cli.commands.devices import devices
from shotwatch_cli.commands.distances import compare_frames
from shotwatch_cli.commands.doctor import doctor
from shotwatch_cli.commands.events import events
from shotwatch_cli.commands.export import export
from shotwatch_cli.commands.keys import keys
from shotwatch_cli.commands.ledger import ledger
from shotwatch_cli.commands.models import models
from shotwatch_cli.commands.pack import pack_frames
from shotwatch_cli.commands.reprocess import reprocess
from shotwatch_cli.commands.search import search, searches
from shotwatch_cli.commands.simulate import simulate_files
from shotwatch_cli.commands.status import status
from shotwatch_cli.commands.tail import tail
from shotwatch_cli.commands.topology import topology
from shotwatch_cli.commands.train import train_model
from shotwatch_cli.commands.up import up
from shotwatch_cli.commands.upload import upload
from shotwatch_cli.demo.command import demo
from shotwatch_cli.failures import Commands

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Watches a high-power laser's shots and names the anomalous ones.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up)
app.command()(demo)
app.command("simulate")(simulate_files)
app.command("pack")(pack_frames)
app.command()(upload)
app.command()(tail)
app.command()(search)
app.command()(searches)
app.add_typer(export, name="export")
app.command()(status)
app.command()(ledger)
app.add_typer(dead, name="dead")
app.add_typer(topology, name="topology")
app.command()(reprocess)
app.command()(devices)
app.add_typer(dataset, name="dataset")
app.command("train")(train_model)
app.add_typer(models, name="models")
app.command("benchmark")(measure_detection)
app.command("distances")(compare_frames)
app.add_typer(events, name="events")
app.add_typer(noise, name="noise")
app.add_typer(reference, name="reference")
app.add_typer(keys, name="keys")
app.command()(audit)
app.add_typer(bucket, name="bucket")
app.command()(doctor)
