"""Makes the buckets, and has the object store tell of what is put into the inbox. May be run again.

For stores whose AMQP target is configured under the name SHOTWATCH, such as MinIO and its forks. Runs in the
image of any service, with the services' own settings.
"""

import asyncio
import os
from urllib.parse import urlsplit

from miniopy_async.api import Minio
from miniopy_async.notificationconfig import NotificationConfig, QueueConfig

BUCKETS = ("inbox", "data", "errors", "blocks", "datasets")
TARGET = "arn:minio:sqs::SHOTWATCH:amqp"


async def main() -> None:
    url = urlsplit(os.environ["SHOTWATCH_STORE_URL"])
    store = Minio(
        url.netloc,
        os.environ["SHOTWATCH_STORE_ACCESS_KEY"],
        os.environ["SHOTWATCH_STORE_SECRET_KEY"],
        secure=url.scheme == "https",
    )
    try:
        for bucket in BUCKETS:
            if not await store.bucket_exists(bucket):
                await store.make_bucket(bucket)
        created = QueueConfig(TARGET, ["s3:ObjectCreated:*"], config_id="inbox")
        await store.set_bucket_notification("inbox", NotificationConfig(queue_config_list=[created]))
    finally:
        await store.close_session()


if __name__ == "__main__":
    asyncio.run(main())
