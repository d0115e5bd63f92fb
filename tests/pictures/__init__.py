"""README's pictures: terminals that run commands of wsctl, recorded."""
