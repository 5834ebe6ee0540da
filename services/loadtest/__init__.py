"""Load: thousands of listeners that measure and throw away, in Jobs on a cluster; `auralis loadtest`."""
