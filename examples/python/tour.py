"""Publishes three messages and consumes them, on stubs generated from proto/. See README.md."""

import queue
import sys

import grpc
from quorate.v1 import admin_pb2, admin_pb2_grpc, common_pb2
from quorate.v1 import consumer_pb2, consumer_pb2_grpc, publisher_pb2, publisher_pb2_grpc

TOPIC, SUBSCRIPTION = "python.topic", "python.subscription"

with grpc.insecure_channel(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7411") as channel:
    admin = admin_pb2_grpc.AdminStub(channel)
    admin.CreateTopic(admin_pb2.CreateTopicRequest(topic=TOPIC), timeout=10)
    binding = admin_pb2.Binding(topic=TOPIC, filter="greetings.*")
    request = admin_pb2.CreateSubscriptionRequest(subscription=SUBSCRIPTION, bindings=[binding])
    admin.CreateSubscription(request, timeout=10)

    messages = [common_pb2.Message(subject="greetings.py", payload=b"hello %d" % n) for n in range(3)]
    publish = publisher_pb2.PublishRequest(topic=TOPIC, messages=messages)
    receipt = publisher_pb2_grpc.PublisherStub(channel).Publish(publish, timeout=10).receipt
    print(f"stored on a majority at offset {receipt.first_offset}, entry {receipt.term}:{receipt.index}")

    requests: queue.Queue = queue.Queue()
    attach = consumer_pb2.Attach(subscription=SUBSCRIPTION, credit=10)
    requests.put(consumer_pb2.ConsumeRequest(attach=attach))
    settled = 0
    # Putting None ends our side of the stream: what was sent before is settled first.
    for response in consumer_pb2_grpc.ConsumerStub(channel).Consume(iter(requests.get, None)):
        for delivery in response.deliveries.deliveries:
            first, count = delivery.first_position, len(delivery.run.messages)
            print(*(f"{delivery.run.topic} {m.subject} {m.payload}" for m in delivery.run.messages), sep="\n")
            ack = consumer_pb2.Settlement(
                first=first, last=first + count - 1, attempt=delivery.attempt, verdict="VERDICT_ACK"
            )
            requests.put(consumer_pb2.ConsumeRequest(settle=consumer_pb2.Settle(settlements=[ack])))
        settled += sum(result.settled for result in response.settled.results)
        if settled == len(messages):
            requests.put(None)
