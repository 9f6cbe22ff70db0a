"""How an application is connected to its portal and disconnected: by events, by pages, from a terminal."""
