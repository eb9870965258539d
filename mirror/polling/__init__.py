"""The steps of one pass: survey upstream, adopt what is there, fetch what is due."""
