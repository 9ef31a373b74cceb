"""What Locust loads."""
