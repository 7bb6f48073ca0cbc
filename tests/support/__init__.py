"""What several tests share: waiting, processes, brokers."""
