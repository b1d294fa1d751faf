"""A BERT for masked words, written as the first PyTorch ports of it were."""

import math

import torch
from torch import nn
from torch.nn import functional as F


class BertConfig:
    vocab_size = 60
    hidden_size = 32
    num_hidden_layers = 2
    num_attention_heads = 4
    intermediate_size = 64
    max_position_embeddings = 20
    type_vocab_size = 2
    pad_token_id = 0
    hidden_dropout_prob = 0.1
    initializer_range = 0.05


class BertLayerNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-12):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.variance_epsilon = eps

    def forward(self, x):
        u = x.mean(-1, keepdim=True)
        s = (x - u).pow(2).mean(-1, keepdim=True)
        x = (x - u) / torch.sqrt(s + self.variance_epsilon)
        return self.weight * x + self.bias


class BertEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = BertLayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids, token_type_ids):
        position_ids = torch.arange(input_ids.size(1), device=input_ids.device)
        position_ids = position_ids.unsqueeze(0).expand_as(input_ids)
        embeddings = (
            self.word_embeddings(input_ids)
            + self.position_embeddings(position_ids)
            + self.token_type_embeddings(token_type_ids)
        )
        return self.dropout(self.LayerNorm(embeddings))


class BertSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.head_size = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout_prob = config.hidden_dropout_prob

    def transpose_for_scores(self, x):
        x = x.view(x.size(0), x.size(1), self.num_heads, self.head_size)
        return x.permute(0, 2, 1, 3)

    def forward(self, hidden_states, attention_mask):
        query = self.transpose_for_scores(self.query(hidden_states))
        key = self.transpose_for_scores(self.key(hidden_states))
        value = self.transpose_for_scores(self.value(hidden_states))
        scores = torch.matmul(query, key.transpose(-1, -2))
        scores = scores / math.sqrt(self.head_size)
        scores = scores + attention_mask
        probs = F.softmax(scores, dim=-1)
        probs = F.dropout(probs, self.dropout_prob, training=self.training)
        context = torch.matmul(probs, value).permute(0, 2, 1, 3).contiguous()
        return context.view(*hidden_states.shape)


class BertLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = BertSelfAttention(config)
        self.attention_output = nn.Linear(config.hidden_size, config.hidden_size)
        self.attention_norm = BertLayerNorm(config.hidden_size)
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.output_norm = BertLayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x, attention_mask):
        attended = self.dropout(self.attention_output(self.attention(x, attention_mask)))
        x = self.attention_norm(attended + x)
        inner = F.gelu(self.intermediate(x))
        inner = self.dropout(self.output(inner))
        return self.output_norm(inner + x)


class BertForMaskedLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embeddings = BertEmbeddings(config)
        self.layers = nn.ModuleList([BertLayer(config) for _ in range(config.num_hidden_layers)])
        self.transform = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform_norm = BertLayerNorm(config.hidden_size)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.data.normal_(mean=0.0, std=config.initializer_range)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.data.zero_()
        self.decoder.weight = self.embeddings.word_embeddings.weight

    def forward(self, input_ids, token_type_ids, attention_mask):
        dtype = self.bias.dtype
        extended = attention_mask[:, None, None, :].to(dtype)
        extended = (1.0 - extended) * torch.finfo(dtype).min
        hidden = self.embeddings(input_ids, token_type_ids)
        for layer in self.layers:
            hidden = layer(hidden, extended)
        transformed = self.transform_norm(F.gelu(self.transform(hidden)))
        return {"logits": self.decoder(transformed) + self.bias, "last_hidden_state": hidden}


def build():
    return BertForMaskedLM(BertConfig())


MASK = 1


def batch(size):
    words = torch.randint(2, BertConfig.vocab_size, (size, 14))
    lengths = torch.randint(7, 15, (size, 1))
    lengths[0] = 14
    mask = (torch.arange(14) < lengths).long()
    chosen = (torch.rand(size, 14) < 0.3) & mask.bool()
    chosen[:, 2] = True
    second = (torch.arange(14) >= lengths // 2).long() * mask
    return {
        "input_ids": words.masked_fill(chosen, MASK) * mask,
        "token_type_ids": second,
        "attention_mask": mask,
        "labels": words.masked_fill(~chosen, -100),
    }


def loss(output, batch):
    logits = output["logits"]
    return F.cross_entropy(logits.view(-1, logits.size(-1)), batch["labels"].view(-1))


FACTS = {
    "task": "masked_tokens",
    "output": "logits",
    "output_kind": "logits",
    "num_classes": 60,
    "labels": "labels",
    "label_shift": 0,
    "ignore_index": -100,
    "inputs": {"token_type_ids": "index"},
    "tokens": "input_ids",
    "vocab_size": 60,
    "max_length": 20,
    "pad_id": 0,
    "padding_mask": "attention_mask",
    "true_means": "keep",
    "padding_side": "right",
    "causal": False,
    "position_sensitive": True,
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
    "tied": [("embeddings.word_embeddings.weight", "decoder.weight")],
}
