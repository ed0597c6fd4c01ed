"""The one door for foreign weights: to and from the layers of other frameworks, a file each."""
