"""Records in, words out: the only room that speaks."""
