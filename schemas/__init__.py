"""Every topic's types, their wire format and the rules that guard them. Imports neither `inference` nor `stream`."""
