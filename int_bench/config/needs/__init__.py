"""What the models of a configuration need: weights, memory, a machine; and how it gets here."""
