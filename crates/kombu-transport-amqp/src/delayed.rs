//! Native delayed delivery as Kombu 5.7 does it on RabbitMQ: 28 levels of queues, each holding
//! messages for a power of two of seconds.
