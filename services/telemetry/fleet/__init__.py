"""The state of the fleet, now and over the last half hour."""
