"""Which slips and which right models of the four families the unit tests run.

Together they reach every line of zoo.testing.family that any of them reaches, and each way from one
line to the next; beyond these, the quick ones. tests/integration/test_family.py runs them all.
"""

SLIPS = """
gpt2: one later
gpt2: the softmax over the batch
gpt2: the mean of the values
gpt2: dropout active in eval
gpt2: ReLU
gpt2: SiLU
gpt2: quick GELU
gpt2: tanh
gpt2: no activation
gpt2: an activation that nobody knows
gpt2: a norm without scale and shift
gpt2: eps beside the deviation
gpt2: the shift left out
gpt2: no norm before the attention
gpt2: no norm before the MLP
gpt2: no residual around the attention
gpt2: the residual of the norm, which is run again
gpt2: the branch subtracted
gpt2: the residual doubled
gpt2: the branch scaled
gpt2: norms of both residuals
gpt2: the MLP reads the first norm
gpt2: no positions
gpt2: positions in the first row alone
gpt2: positions scaled
gpt2: the head reads the stream
gpt2: the first block twice
gpt2: the last block left out
gpt2: copies of one block
bert: values of the keys
bert: norm first
bert: no norm after the attention
bert: no norm of the embedding
bert: positions left out
bert: the head without its norm
bert: the MLP reads before the norm
vit: causal
vit: q, k, v inside the heads
vit: ReLU
vit: no activation
vit: no residual around the MLP
vit: no first norm
vit: an eps of a hundredth
vit: patches column by column
vit: no positions
vit: positions doubled
vit: positions subtracted
vit: one position for all
vit: the class token without position
vit: the class token left out
vit: overlapping patches
vit: no final norm
vit: two final norms
vit: the head reads the first patch
vit: blocks in reverse
vit: the last block skipped
vit: rows and columns swapped
vit: dropout active in eval
clip: a fixed scale
clip: the text's first position
clip: the text's mean
clip: the picture's last patch
clip: no map of the picture
clip: no norm before the picture's map
clip: a text that sees its future alone
clip: rows for positions
clip: values of the stream
clip: no norm of the embedding
""".strip().splitlines()

SOUND = """
gpt2: as it is
gpt2: torch's attention function
gpt2: hand-made norms without a shift
gpt2: norms by one op
gpt2: weights outright
gpt2: weights outright and a bias
gpt2: Conv1D's addmm
gpt2: einsum for each head
gpt2: maps of each head
gpt2: heads of another name
gpt2: hidden as wide as the stream
gpt2: hidden half as wide
gpt2: as many heads as width
gpt2: one head
gpt2: positions sliced
gpt2: positions of a parameter
gpt2: positions first
gpt2: positions of a batch
gpt2: sinusoids
gpt2: ids as one-hot rows
gpt2: a softmax in float32
gpt2: maps by convolutions
gpt2: one block
gpt2: as many positions as heads
gpt2: two positions
bert: no head and no pooler
bert: a classifier
bert: an untied decoder
vit: as it is
vit: layer scale
vit: torch's attention function
vit: the mean of the patches
vit: no class token, and the mean
vit: a norm after the mean
vit: a norm of the class token
vit: registers
vit: the class token repeated
vit: positions of the patches alone
vit: positions cut for the class token
vit: positions that do not learn
vit: patches by unfolding
vit: a bias for q, k, v that is absent
vit: a head of two maps
vit: pictures of one row
vit: eps of 1e-12
clip: features alone
torch's encoder as a BERT, time first
torch's layer, norm last
""".strip().splitlines()
