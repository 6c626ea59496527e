"""A model of your own: build() gets the inputs by name, and the output that the model must have."""

import keras


def build(inputs, outputs, *, width=16):
    """Return a keras.Model from `inputs` to `outputs.layer(...)`.

    `inputs` is a dict of keras tensors. Numbers and categories are joined in `inputs["features"]`, float32 (rows, all):
    here age and visits, scaled to mean 0 and deviation 1, then city, one place per category, 0 or 1. An image, a text,
    a sequence, an id or an array is an input of its own name; pixels are 0 to 1, or as stored with `scale: none` in
    data.inputs. `inputs.columns["city"]` is one column alone, whichever input it is in. `print(inputs)` shows it all.
    """
    x = keras.layers.Concatenate()(list(inputs.values())) if len(inputs) > 1 else next(iter(inputs.values()))
    x = keras.layers.Dense(width, activation="relu")(x)
    return keras.Model(inputs, outputs.layer(x))
