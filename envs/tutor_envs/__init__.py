"""What is taught and who is taught: student models, populations, Gymnasium environments."""
