"""An imitation of Azure Event Hubs: AMQP 1.0 on loopback, in pure Python, for tests and first steps.

`server.EventHubsServer` is the way in. Importing this package starts nothing and needs no other package.
"""
