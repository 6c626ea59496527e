"""The equations of training a network, in NumPy float64: one topic per file, LaTeX and source in every docstring.

    activations   sigmoid, tanh, ReLU, softmax
    losses        mean squared error, cross-entropy, hinge
    dense         a dense layer
    convolution   2-D convolution
    pooling       max and average pooling
    recurrent     a simple recurrent cell through time
    lstm          an LSTM cell, four gates, through time
    updates       gradient descent, SGD, momentum
    layers        the equations above as layers that store what their backward pass needs
    network       layers connected to a network: forward and backward
    loop          initialise, forward, loss, backward, update, until epochs or convergence

Every `..._backward` takes the gradient of the loss with respect to an output and returns it with respect to
the inputs and parameters, by the chain rule; the loss's own gradient starts the chain. `training.backend: numpy` trains
with these. Sources cited more than once:

    [GBC]  Goodfellow, Bengio, Courville, "Deep Learning", MIT Press 2016
    [B]    Bishop, "Pattern Recognition and Machine Learning", Springer 2006
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
