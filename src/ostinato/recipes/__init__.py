"""Complete experiments, one TOML file each; `ostinato recipes` lists them."""
