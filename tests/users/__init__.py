"""Tests of the attacks as Locust users."""
