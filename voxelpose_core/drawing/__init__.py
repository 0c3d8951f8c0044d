"""Pictures for people: views with skeletons, rigs, and what a training sees."""
