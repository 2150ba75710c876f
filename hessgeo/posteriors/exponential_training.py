"""Training of the exponential-family network: the likelihood of parameters, by Adam and, at the end, by Newton."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from hessgeo.estimators.base import Samples
from hessgeo.estimators.encoder import as_input
from hessgeo.posteriors.bundles import split_samples
from hessgeo.posteriors.calibration import LEVELS, region_mass
from hessgeo.posteriors.exponential import ROWS, ExponentialConfig, ExponentialNetwork
from hessgeo.posteriors.exponential_convex import Strata, fit_last_layer


def train_exponential(samples, *, statistics=2, nodes=(24, 24), splines=(9, 9), eta_splines=(8, 8), width=16, layers=2,
    hidden=64, epochs=8, batch_size=256, learning_rate=3e-3, ridge=1.0, held_out=0.1, seed=0, device="cpu", progress=False, warm=8192, polish=True, verbose=False):
    n = len(samples.t)
    train, test = split_samples(n, held_out=held_out, seed=seed)
    config = ExponentialConfig(tuple(samples.states.shape[1:]), samples.geometry, samples.grid.extent, nodes, statistics, splines, eta_splines, width, layers, hidden, n, held_out, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ExponentialNetwork(config, samples.coordinates.natural)
    strata = Strata(config.cells, samples.coordinates.natural)
    x = as_input(samples.states); t = samples.t
    start=time.perf_counter()
    net.train()
    net.encoder(x[train[:4096]])
    def feats(rows):
        with torch.no_grad():
            return torch.cat([net.encoder.features(x[rows[k:k+ROWS]]) for k in range(0,len(rows),ROWS)])
    if warm:
        w = train[:warm]
        r=fit_last_layer(net, feats(w), t[w], strata, ridge=ridge*10, tolerance=1e-3, seed=seed)
        if verbose: print("warm", r, time.perf_counter()-start)
    rng = np.random.default_rng([seed,1])
    batches=max(1,len(train)//batch_size)
    opt=torch.optim.Adam(net.parameters(), lr=learning_rate, fused=True)
    sched=OneCycleLR(opt, learning_rate, total_steps=epochs*batches, pct_start=0.1, cycle_momentum=False)
    own_u=torch.from_numpy(samples.natural); tt=torch.from_numpy(t); cell=torch.from_numpy(strata.cell(t))
    losses=[]
    for e in range(epochs):
        tot=0.
        for rows in np.array_split(rng.permutation(train), batches):
            tn,un=strata.draw(rng)
            points=torch.from_numpy(np.concatenate([tn,t[rows]])).float(); nat=torch.cat([torch.from_numpy(un),own_u[rows]]).float()
            u=net.standardised_eta(points,nat).float(); A=net.value(points)
            G=len(tn)
            f=net.encoder(x[rows])
            logits=f@u[:G].T-A[:G]
            own=(f*u[G:]).sum(1)-A[G:]
            logits=logits.scatter(1,cell[rows,None],own[:,None])
            loss=(logits.logsumexp(1)-own).mean()
            opt.zero_grad(set_to_none=True); loss.backward(); opt.step(); sched.step()
            tot+=float(loss.detach())*len(rows)
        losses.append(tot/len(train))
        if verbose: print(e, losses[-1], round(time.perf_counter()-start,1))
    net.eval()
    if polish:
        a=time.perf_counter()
        r=fit_last_layer(net, feats(train), t[train], strata, ridge=ridge, seed=seed)
        if verbose: print("polish", r, time.perf_counter()-a)
    return net, train, test
