import keras
from keras import layers


def block(x, filters, strides=1):
    x = layers.Conv2D(filters, 3, strides=strides, padding="same")(x)
    return layers.Activation("relu")(x)


def build(inputs, outputs):
    del outputs
    fine = block(inputs["image"], 8)
    coarse = block(block(fine, 16, strides=2), 16)
    x = layers.Concatenate()([fine, layers.UpSampling2D(2)(coarse)])
    return keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(block(x, 8)))
