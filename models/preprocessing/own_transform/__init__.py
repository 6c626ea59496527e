"""The user's own transform, `data.transform`: raw columns to columns, in training and at the endpoint alike."""
