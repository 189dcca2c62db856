"""The process that a party runs a codec in: ``python -I -m keyquorum_plugin_api.codec_host --help``."""
