"""Does a population look real? Its students live through a real log, and both logs are compared."""
