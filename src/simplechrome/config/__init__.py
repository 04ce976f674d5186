"""One TOML file is one run: options, model sections and presets."""
