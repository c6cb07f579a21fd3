"""Read by Django through FORMAT_MODULE_PATH: 24 h and to the second, as logs have it."""

DATETIME_FORMAT = "j M Y, H:i:s"
DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i:s"
