"""validate: judge each record.

Consumes `FileIngested`, publishes `FileValidated`. It reads no pixels, because the message carries a digest
of each record.

Delivery: publish the verdicts; then store the records' times and states; then store each camera's last frame,
to recognize a frozen one at the start of the next file. Handling a message a second time publishes and writes
the same. If the service dies halfway, the message is delivered again. A file's first frame is compared with
the newest earlier one that is known at that time.
"""

from contextlib import AsyncExitStack

from shotwatch_common import faults, metrics
from shotwatch_common.archive.devices import LastFrame
from shotwatch_common.bus import Subscription
from shotwatch_common.clock import latest_record_ms
from shotwatch_common.process import PREFETCH_WAITING, Service, ServiceContext
from shotwatch_shots.records import DeviceRecords, FileIngested, FileValidated, JudgedRecords
from shotwatch_validate.domain.judge import judge, last_fingerprint
from shotwatch_validate.settings import ValidateSettings


async def assemble(context: ServiceContext[ValidateSettings], _resources: AsyncExitStack) -> Service:
    validator = Validator(context)
    return Service((Subscription("validate", FileIngested, validator.validate, PREFETCH_WAITING),))


class Validator:
    """The judge with its input and output: messages on the bus, records and last frames in the database."""

    def __init__(self, context: ServiceContext[ValidateSettings]) -> None:
        self._context = context
        self._frames = context.archive.frames

    async def validate(self, message: FileIngested) -> None:
        """Judge every record of a file."""
        judged = [await self._judge(records) for records in message.devices]
        validated = FileValidated(object=message.object, devices=judged)
        await self._context.bus.send("aggregate", validated)
        faults.reach("validate.after_publish")
        for device in judged:
            await self._context.archive.records.keep(message.object, device)
        await self._context.archive.records.clear_earlier(message.object)
        for records in message.devices:
            await self._remember_last_frame(records)
        for device in judged:
            metrics.records_judged(device)
        self._context.log.info("validated", object=message.object.key, refused=dict(validated.refused))

    async def _judge(self, records: DeviceRecords) -> JudgedRecords:
        before = None
        if len(records.times) and last_fingerprint(records) is not None:
            before = await self._frames.before(records.device, int(records.times[0]))
        return judge(records, self._context.facility, before)

    async def _remember_last_frame(self, records: DeviceRecords) -> None:
        fingerprint = last_fingerprint(records)
        if fingerprint is not None:
            last = LastFrame(int(records.times[-1]), fingerprint)
            await self._frames.saw(records.device, last, latest_record_ms(self._context.facility))
