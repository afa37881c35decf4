"""The crash test: gateways and servers are killed at random under load, and nothing may be lost."""
