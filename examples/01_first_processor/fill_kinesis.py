"""Makes the stream `orders`, unless it is there, and puts three orders into it.

boto3 finds out where: AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_KINESIS, profile.
"""

import contextlib

import boto3

if __name__ == "__main__":
    kinesis = boto3.client("kinesis")
    with contextlib.suppress(kinesis.exceptions.ResourceInUseException):
        kinesis.create_stream(StreamName="orders", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="orders", WaiterConfig={"Delay": 1})
    for customer, order in (("ada", b"tea"), ("bob", b"jam"), ("ada", b"milk")):
        kinesis.put_record(StreamName="orders", PartitionKey=customer, Data=order)
