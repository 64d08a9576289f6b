"""What tests run against: nginx, brokers, ClickHouse and what is between them."""
