"""Experiments: what to do, frozen, as JSON, hashed; and `run`, which does it.

The page, the command line and the HTTP interface build an experiment, call
`run`, and show the Result. An experiment's hash is the key of caches, of the
run store and of a shared link. The experiments themselves are in `methods/`.

base       what an experiment is
declaration  what a method is declared with: fields, options, cost, output
patching   experiments that change places: sweeps, and several places together
registry   the methods there are, as an object
run        experiment + model -> Result
assembly   what a method found -> Result
sweeps     what sweeps share: cells, unpatched runs, arrays
joint_patch  several places changed in one run
observation  what methods that only read unpatched runs share
batching   experiments that differ in their pair alone, in shared passes
partial_result  a sweep while it is under way
limits     what one of many may ask for
cost       how large an experiment is, before it is done
circuit    a circuit as a file
swap       corrupted prompts by swapping a word, ranked
similar_pairs  more pairs like one
"""
