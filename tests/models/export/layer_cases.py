"""Small models of one layer each, for every public layer of Keras, in the ways that change how it is exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Shape = tuple[int | None, ...]
VECTOR: Shape = (6,)
STEPS: Shape = (7, 4)
IMAGE: Shape = (8, 9, 3)
VOLUME: Shape = (4, 5, 6, 2)
FRAMES: Shape = (4, 6, 7, 2)
SOUND: Shape = (600,)
CHANNELS: Shape = (600, 2)
IDS: Shape = (5,)


def _call(layer: Any, x: Any) -> Any:
    return layer(x)


def _two(layer: Any, x: Any) -> Any:
    import keras

    return layer([x, keras.ops.sin(x)])


def _attends(layer: Any, x: Any) -> Any:
    import keras

    return layer(x, keras.ops.sin(x))


@dataclass(frozen=True)
class Case:
    """A layer as it is written in a model file, the shape of a row, and how it is called."""

    layer: str
    shape: Shape
    call: Callable[[Any, Any], Any] = _call
    dtype: str = "float32"

    @property
    def name(self) -> str:
        return self.layer.partition("(")[0]


CASES = (
    Case("Activation('relu')", VECTOR),
    Case("ActivityRegularization(0.1)", VECTOR),
    *(Case(f"Adaptive{kind}Pooling1D(3)", STEPS) for kind in ("Average", "Max")),
    *(Case(f"Adaptive{kind}Pooling2D(3)", IMAGE) for kind in ("Average", "Max")),
    *(Case(f"Adaptive{kind}Pooling3D(2)", VOLUME) for kind in ("Average", "Max")),
    *(
        Case(f"{name}()", STEPS, _two)
        for name in ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract")
    ),
    Case("Dot(1)", STEPS, _two),
    Case("AdditiveAttention()", STEPS, _two),
    Case("Attention()", STEPS, _two),
    Case("MultiHeadAttention(2, 4)", STEPS, _attends),
    Case("GroupQueryAttention(4, 4, 2)", STEPS, _attends),
    *(
        Case(f"{name}(0.2)", STEPS)
        for name in ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise")
    ),
    Case("SpatialDropout1D(0.2)", STEPS),
    Case("SpatialDropout2D(0.2)", IMAGE),
    Case("SpatialDropout3D(0.2)", VOLUME),
    *(
        Case(f"{kind}Pooling1D(2{padding})", STEPS)
        for kind in ("Average", "Max")
        for padding in ("", ", padding='same'")
    ),
    *(
        Case(f"{kind}Pooling2D(2{padding})", IMAGE)
        for kind in ("Average", "Max")
        for padding in ("", ", padding='same'")
    ),
    *(
        Case(f"{kind}Pooling3D(2{padding})", VOLUME)
        for kind in ("Average", "Max")
        for padding in ("", ", padding='same'")
    ),
    *(
        Case(f"Global{kind}Pooling{n}D()", shape)
        for kind in ("Average", "Max")
        for n, shape in ((1, STEPS), (2, IMAGE), (3, VOLUME))
    ),
    Case("BatchNormalization()", IMAGE),
    Case("GroupNormalization(3)", IMAGE),
    Case("LayerNormalization()", IMAGE),
    Case("RMSNormalization()", STEPS),
    Case("UnitNormalization()", STEPS),
    Case("Normalization(mean=2.0, variance=3.0)", VECTOR),
    Case("SpectralNormalization(keras.layers.Dense(3))", VECTOR),
    Case("Bidirectional(keras.layers.LSTM(5))", STEPS),
    *(
        Case(f"{name}({options})", STEPS)
        for name in ("SimpleRNN", "GRU", "LSTM")
        for options in ("5", "5, return_sequences=True", "5, go_backwards=True", "5, unroll=True")
    ),
    Case("GRU(5, reset_after=False)", STEPS),
    Case("LSTM(5, activation='relu', recurrent_activation='hard_sigmoid')", STEPS),
    Case("RNN([keras.layers.GRUCell(5), keras.layers.LSTMCell(3)])", STEPS),
    Case("RNN(keras.layers.SimpleRNNCell(5))", STEPS),
    Case("LSTM(5)", (None, 4)),
    Case("ConvLSTM1D(3, 2)", (4, 6, 2)),
    Case("ConvLSTM2D(3, 2)", FRAMES),
    Case("ConvLSTM3D(3, 2)", (3, 4, 5, 4, 2)),
    Case("CategoryEncoding(10)", IDS, dtype="int32"),
    Case("CategoryEncoding(10, output_mode='one_hot')", (1,), dtype="int32"),
    Case("CategoryEncoding(10, output_mode='count')", IDS, dtype="int32"),
    Case("CenterCrop(4, 5)", IMAGE),
    Case("CenterCrop(12, 10)", IMAGE),
    *(
        Case(f"Conv1D({options})", STEPS)
        for options in (
            "6, 3",
            "4, 3, groups=2",
            "6, 3, padding='causal', dilation_rate=2",
            "6, 3, strides=2, padding='same'",
        )
    ),
    *(
        Case(f"Conv2D({options})", IMAGE)
        for options in (
            "6, 3",
            "6, 3, groups=3",
            "6, 3, groups=3, strides=2, padding='same'",
            "6, 3, padding='same', dilation_rate=2",
        )
    ),
    *(
        Case(f"Conv3D({options})", VOLUME)
        for options in ("4, 2", "4, 2, groups=2", "4, 3, strides=2, padding='same'")
    ),
    *(Case(f"Conv1DTranspose({options})", STEPS) for options in ("6, 3", "6, 3, strides=2, padding='same'")),
    *(
        Case(f"Conv2DTranspose({options})", IMAGE)
        for options in (
            "6, 3",
            "6, 3, strides=2, padding='same'",
            "6, 2, strides=2, output_padding=1",
            "6, 2, strides=3, output_padding=2",
            "6, 1, strides=2, padding='same'",
        )
    ),
    *(
        Case(f"Conv3DTranspose({options})", VOLUME)
        for options in ("4, 2", "4, 2, strides=2, padding='same'", "4, 2, strides=2, output_padding=1")
    ),
    *(
        Case(f"DepthwiseConv1D({options})", STEPS)
        for options in ("3", "3, depth_multiplier=2", "3, strides=2, padding='same'")
    ),
    *(
        Case(f"DepthwiseConv2D({options})", IMAGE)
        for options in ("3", "3, depth_multiplier=2", "3, strides=2, padding='same'", "3, dilation_rate=2")
    ),
    *(Case(f"SeparableConv1D({options})", STEPS) for options in ("6, 3", "6, 3, depth_multiplier=2")),
    *(
        Case(f"SeparableConv2D({options})", IMAGE)
        for options in ("6, 3", "6, 3, depth_multiplier=2", "6, 3, strides=2, padding='same'")
    ),
    Case("Cropping1D(1)", STEPS),
    Case("Cropping2D(1)", IMAGE),
    Case("Cropping3D(1)", VOLUME),
    Case("Dense(3)", VECTOR),
    Case("EinsumDense('abc,cd->abd', (None, 5), bias_axes='d')", STEPS),
    *(
        Case(f"Discretization(bin_boundaries=[-1.0, 0.0, 2.0]{options})", VECTOR)
        for options in ("", ", output_mode='one_hot'", ", output_mode='multi_hot'", ", output_mode='count'")
    ),
    Case("ELU()", VECTOR),
    Case("LeakyReLU()", VECTOR),
    Case("PReLU()", VECTOR),
    Case("ReLU(max_value=6.0, negative_slope=0.1, threshold=0.5)", VECTOR),
    Case("Softmax()", VECTOR),
    Case("Embedding(10, 4)", IDS, dtype="int32"),
    Case("ReversibleEmbedding(10, 4)", IDS, dtype="int32"),
    Case("Flatten()", IMAGE),
    Case("Identity()", VECTOR),
    Case("Lambda(lambda x: x * 2)", VECTOR),
    Case("Masking()", STEPS),
    Case("Permute((2, 1))", STEPS),
    Case("RepeatVector(3)", VECTOR),
    Case("Rescaling(1 / 255, offset=-1)", IMAGE),
    Case("Reshape((3, 2))", VECTOR),
    Case("HashedCrossing(5)", (1,), lambda layer, x: layer((x, x + 1)), dtype="int32"),
    Case("Hashing(5)", IDS, dtype="int32"),
    Case("IntegerLookup(vocabulary=[1, 3, 5])", IDS, dtype="int32"),
    Case("MelSpectrogram(fft_length=128, sequence_stride=64, num_mel_bins=16)", SOUND),
    *(
        Case(f"STFTSpectrogram(mode='{mode}', frame_length=64, frame_step=32)", CHANNELS)
        for mode in ("log", "magnitude", "psd", "real", "imag", "angle", "stft")
    ),
    *(
        Case(f"Resizing({size}, interpolation='{how}')", IMAGE)
        for size in ("5, 12", "20, 5")
        for how in ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5")
    ),
    Case("Resizing(5, 12, crop_to_aspect_ratio=True)", IMAGE),
    Case("Resizing(5, 12, pad_to_aspect_ratio=True)", IMAGE),
    Case("Resizing(5, 12, antialias=True)", IMAGE),
    Case("Resizing(5, 12)", (None, None, 3)),
    Case("Resizing(5, 12, interpolation='area')", (None, None, 3)),
    Case("UpSampling1D(2)", STEPS),
    *(
        Case(f"UpSampling2D((2, 3), interpolation='{how}')", IMAGE)
        for how in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
    ),
    Case("UpSampling3D(2)", VOLUME),
    Case("ZeroPadding1D(1)", STEPS),
    Case("ZeroPadding2D(1)", IMAGE),
    Case("ZeroPadding3D(1)", VOLUME),
    Case("TimeDistributed(keras.layers.Dense(3))", STEPS),
    Case("TimeDistributed(keras.layers.Conv2D(3, 2))", FRAMES),
    *(
        Case(f"TimeDistributed(keras.layers.{layer})", (None, 6, 7, 2))
        for layer in ("Conv2D(3, 2)", "MaxPooling2D()", "Flatten()", "BatchNormalization()")
    ),
    Case("TimeDistributed(keras.layers.LSTM(3))", (None, 5, 3)),
    *(
        Case(f"{name}(0.2)", IMAGE)
        for name in (
            "RandomBrightness",
            "RandomContrast",
            "RandomRotation",
            "RandomZoom",
            "RandomShear",
            "RandomHue",
            "RandomSaturation",
            "RandomColorDegeneration",
            "RandomSharpness",
        )
    ),
    Case("RandomTranslation(0.2, 0.2)", IMAGE),
    Case("RandomPosterization(4)", IMAGE),
    Case("RandomCrop(4, 5)", IMAGE),
    Case("RandomColorJitter((0, 255))", IMAGE),
    *(
        Case(f"{name}()", IMAGE)
        for name in (
            "AugMix",
            "AutoContrast",
            "CutMix",
            "MixUp",
            "ContrastLimitedAdaptiveHistogramEqualization",
            "RandAugment",
            "RandomElasticTransform",
            "RandomErasing",
            "RandomFlip",
            "RandomGaussianBlur",
            "RandomGrayscale",
            "RandomInvert",
            "RandomPerspective",
            "Solarization",
        )
    ),
    Case("Pipeline([keras.layers.RandomFlip(), keras.layers.Rescaling(2.0)])", IMAGE),
    Case("StringLookup(vocabulary=['a', 'b'])", IDS, dtype="string"),
    Case("TextVectorization(vocabulary=['a', 'b'])", (1,), dtype="string"),
)
