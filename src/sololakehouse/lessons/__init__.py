"""The course: eight lessons, each on a scratch project, with checks that look at its lake."""
