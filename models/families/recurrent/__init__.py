"""Recurrent families: plain recurrent layers, LSTM and GRU, over one builder."""
