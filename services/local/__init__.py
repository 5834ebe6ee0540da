"""What runs Auralis on one machine: its NATS server, the supervisor behind `auralis up`, the doctor."""
