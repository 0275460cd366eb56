"""Dead letters, wherever they lie: looked at, sent again, thrown away."""
