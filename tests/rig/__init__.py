"""What the tests are made with: deployments, programs, terminals, clocks."""
