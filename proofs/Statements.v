(** Every theorem that is proved, in words and as a proposition. [X] is proved by [X_holds].

    Throughout: [n] samples, [D] features; [(j, k)] is the entry of the batch [x] in which a
    derivative is taken; [eps] is what BN adds to the variance. Where it says
    [0 < var n x k + eps], column [k] of the batch is not constant or [eps] is positive. *)
From Coq Require Import Reals Arith.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Definitions.
Open Scope R_scope.

(** * The Jacobian of the standardization phase *)

Definition jacobian : Prop := forall n eps x i j k,
  (j < n)%nat -> 0 < var n x k + eps ->
  is_partial (fun z => bn n eps z i k) x j k
    (/ sigma n eps x k *
       (delta i j - / INR n - bn n eps x i k * bn n eps x j k / INR n)).

(** A feature does not depend on the others. *)
Definition jacobian_other_feature : Prop := forall n eps x i d j k,
  d <> k ->
  is_partial (fun z => bn n eps z i d) x j k 0.

(** * T1: the first-order term is blocked *)

(** It is one number, whatever the batch ... *)
Definition T1_value : Prop := forall n D eps g y0 x,
  (1 <= n)%nat ->
  first_term n D g y0 (bn n eps x) = - INR n * \sum_(d < D) g d * y0 d.

(** ... so it has no gradient, for every gradient [g], expansion point and [eps]. *)
Definition T1 : Prop := forall n D eps g y0 x j k,
  (1 <= n)%nat ->
  is_partial (fun z => first_term n D g y0 (bn n eps z)) x j k 0.

(** * T2: the Hessian's diagonal is blocked, but for a leak at eps > 0 *)

(** The gradient is the leak H_kk eps (x_jk - mu_k) / (var_k + eps)^2 ... *)
Definition T2 : Prop := forall n D eps H y0 x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps ->
  is_partial (fun z => diag_term n D H y0 (bn n eps z)) x j k
    (diagonal_gradient n eps H x j k).

(** ... which is zero at eps = 0. *)
Definition T2_blocked : Prop := forall n D H y0 x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k ->
  is_partial (fun z => diag_term n D H y0 (bn n 0 z)) x j k 0.

(** At eps = 0 the term is one number ... *)
Definition T2_value : Prop := forall n D H y0 x,
  (1 <= n)%nat -> (forall d, (d < D)%nat -> 0 < var n x d) ->
  diag_term n D H y0 (bn n 0 x) = INR n / 2 * \sum_(d < D) H d d * (1 + y0 d ^ 2).

(** ... not only in the directions of the axes: in a whole neighbourhood of the batch. *)
Definition T2_locally_constant : Prop := forall n D H y0 x,
  (1 <= n)%nat -> (forall d, (d < D)%nat -> 0 < var n x d) ->
  exists r, 0 < r /\ forall z,
    (forall i d, (i < n)%nat -> (d < D)%nat -> Rabs (z i d - x i d) < r) ->
    diag_term n D H y0 (bn n 0 z) = diag_term n D H y0 (bn n 0 x).

(** The leak is no artefact of the formula: with eps = 1, samples 0 and 1, it is not zero. *)
Definition T2_leaks : Prop :=
  is_partial (fun z => diag_term 2 1 (fun _ _ => 1) (fun _ => 0) (bn 2 1 z)) two 0 0 (- (8 / 25)).

(** * T3: of the off-diagonal part passes, at eps = 0, what a feature does not predict of another *)

(** (1 / sigma_k) sum_{e <> k} H_ke (y_je - rho_ke y_jk). *)
Definition T3 : Prop := forall n D eps H y0 x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps -> symmetric D H ->
  is_partial (fun z => offdiag_term n D H y0 (bn n eps z)) x j k
    (off_diagonal_gradient n D eps H x j k).

(** The term sees the batch through the correlations of its features only. *)
Definition T3_value : Prop := forall n D eps H y0 x,
  (1 <= n)%nat ->
  offdiag_term n D H y0 (bn n eps x)
  = INR n / 2 * \sum_(d < D) \sum_(e < D)
      off_diagonal H d e * (rho n eps x d e + y0 d * y0 e).

(** Nothing passes where all features are multiples of one signal [u], plus constants. *)
Definition T3_perfectly_correlated : Prop := forall n D H y0 (a b u : vector) x j k,
  (j < n)%nat -> (k < D)%nat -> symmetric D H ->
  (forall i d, (i < n)%nat -> (d < D)%nat -> x i d = a d + b d * u i) ->
  (forall d, (d < D)%nat -> 0 < var n x d) ->
  is_partial (fun z => offdiag_term n D H y0 (bn n 0 z)) x j k 0.

(** It is not always so: at the corners of a square H_01 passes whole. *)
Definition T3_passes : Prop := forall H,
  symmetric 2 H ->
  is_partial (fun z => offdiag_term 4 2 H (fun _ => 0) (bn 4 0 z)) four 0 0 (H 0%nat 1%nat).

(** * T4: the backward pass, for every differentiable loss of the batch *)

Definition T4 : Prop := forall n D eps L G x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps ->
  differentiable n D L (bn n eps x) G ->
  is_partial (fun z => L (bn n eps z)) x j k (bn_backward n eps x G j k).

(** What T4 blocks of a feature: |G|^2 = mean share + scale share + passing. *)
Definition T4_shares : Prop := forall n eps x G k,
  (1 <= n)%nat -> 0 < var n x k + eps ->
  \sum_(i < n) G i k ^ 2
  = INR n * (\mean_(i < n) G i k) ^ 2
    + (\mean_(i < n) bn n eps x i k * G i k) ^ 2
        * (2 * INR n - \sum_(i < n) bn n eps x i k ^ 2)
    + \sum_(i < n) (sigma n eps x k * bn_backward n eps x G i k) ^ 2.

(** * T5: the whole quadratic model passes as T2's leak and T3's remnant *)

Definition T5 : Prop := forall n D eps c g H y0 x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps -> symmetric D H ->
  is_partial (fun z => taylor2 n D c g H y0 (bn n eps z)) x j k
    (diagonal_gradient n eps H x j k + off_diagonal_gradient n D eps H x j k).

(** It is the sum of the terms that T1 to T3 speak of. *)
Definition T5_split : Prop := forall n D c g H y0 y,
  taylor2 n D c g H y0 y
  = INR n * c + first_term n D g y0 y + diag_term n D H y0 y + offdiag_term n D H y0 y.

(** With a diagonal Hessian and eps = 0 nothing passes. *)
Definition T5_blocked : Prop := forall n D c g H y0 x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k ->
  (forall d e, (d < D)%nat -> (e < D)%nat -> d <> e -> H d e = 0) ->
  is_partial (fun z => taylor2 n D c g H y0 (bn n 0 z)) x j k 0.

(** Any loss, whatever remains beyond second order: [G] is split into [g], [H (y - y0)] and a
    remainder [E]; of [g] and of the diagonal at eps = 0 nothing passes. *)
Definition T5_with_remainder : Prop := forall n D eps L g H y0 E x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps ->
  differentiable n D L (bn n eps x)
    (fun i d => g d + (\sum_(e < D) H d e * (bn n eps x i e - y0 e)) + E i d) ->
  is_partial (fun z => L (bn n eps z)) x j k
    (diagonal_gradient n eps H x j k + off_diagonal_gradient n D eps H x j k
     + bn_backward n eps x E j k).

(** * The affine phase is not the cause *)

(** T1 to T4 for a loss of z = gamma y + beta, expanded at [z0]. *)
Definition T1_affine : Prop := forall n D eps gamma beta g z0 x j k,
  (1 <= n)%nat ->
  is_partial (fun z => first_term n D g z0 (affine gamma beta (bn n eps z))) x j k 0.

Definition T2_affine : Prop := forall n D eps gamma beta H z0 x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps ->
  is_partial (fun z => diag_term n D H z0 (affine gamma beta (bn n eps z))) x j k
    (gamma k ^ 2 * diagonal_gradient n eps H x j k).

Definition T2_affine_blocked : Prop := forall n D gamma beta H z0 x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k ->
  is_partial (fun z => diag_term n D H z0 (affine gamma beta (bn n 0 z))) x j k 0.

Definition T3_affine : Prop := forall n D eps gamma beta H z0 x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps -> symmetric D H ->
  is_partial (fun z => offdiag_term n D H z0 (affine gamma beta (bn n eps z))) x j k
    (off_diagonal_gradient n D eps (fun d e => gamma d * H d e * gamma e) x j k).

Definition T4_affine : Prop := forall n D eps gamma beta L G x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps ->
  differentiable n D L (affine gamma beta (bn n eps x)) G ->
  is_partial (fun z => L (affine gamma beta (bn n eps z))) x j k
    (gamma k * bn_backward n eps x G j k).

(** Alone it passes every gradient, times gamma. *)
Definition affine_passes : Prop := forall n D gamma beta L G x j k,
  (j < n)%nat -> (k < D)%nat ->
  differentiable n D L (affine gamma beta x) G ->
  is_partial (fun z => L (affine gamma beta z)) x j k (gamma k * G j k).

(** * The controls: what in the standardization phase is the cause *)

(** Centering alone takes away the mean of the gradient ... *)
Definition center_backward : Prop := forall n D L G x j k,
  (j < n)%nat -> (k < D)%nat -> differentiable n D L (center n x) G ->
  is_partial (fun z => L (center n z)) x j k (G j k - \mean_(i < n) G i k).

(** ... so it blocks the first-order term ... *)
Definition center_T1 : Prop := forall n D g y0 x j k,
  (1 <= n)%nat ->
  is_partial (fun z => first_term n D g y0 (center n z)) x j k 0.

(** ... but of the diagonal only the part of the expansion point: at y0 = 0 nothing. *)
Definition center_T2 : Prop := forall n D H y0 x j k,
  (j < n)%nat -> (k < D)%nat ->
  is_partial (fun z => diag_term n D H y0 (center n z)) x j k (H k k * center n x j k).

(** What passes is not zero: at samples 0 and 1 it is H/2 for the second. *)
Definition center_passes_T2 : Prop := forall H y0,
  is_partial (fun z => diag_term 2 1 H y0 (center 2 z)) two 1 0 (/ 2 * H 0%nat 0%nat).

(** Scaling alone takes away a part along the *centered* y ... *)
Definition scale_backward : Prop := forall n D eps L G x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps ->
  differentiable n D L (scale n eps x) G ->
  is_partial (fun z => L (scale n eps z)) x j k
    (/ sigma n eps x k *
       (G j k - bn n eps x j k * \mean_(i < n) scale n eps x i k * G i k)).

(** ... so neither term is blocked. At samples 0 and 1, eps = 0, sigma = 1/2: four times [g]
    passes, and four times H of the diagonal expanded at 0. *)
Definition scale_passes_T1 : Prop := forall g y0,
  is_partial (fun z => first_term 2 1 g y0 (scale 2 0 z)) two 0 0 (4 * g 0%nat).

Definition scale_passes_T2 : Prop := forall H,
  is_partial (fun z => diag_term 2 1 H (fun _ => 0) (scale 2 0 z)) two 0 0 (4 * H 0%nat 0%nat).

(** Only where the expansion point is the mean of the scaled batch is the diagonal blocked. *)
Definition scale_T2_at_mean : Prop := forall n D eps H y0 x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps ->
  y0 k = \mean_(i < n) scale n eps x i k ->
  is_partial (fun z => diag_term n D H y0 (scale n eps z)) x j k
    (diagonal_gradient n eps H x j k).

(** Statistics that are constants, as in evaluation mode: the Jacobian is diagonal ... *)
Definition frozen_jacobian : Prop := forall m s x i d j k,
  is_partial (fun z => frozen m s z i d) x j k (delta i j * delta d k / s k).

(** ... and every gradient passes, divided by the scale. *)
Definition frozen_passes : Prop := forall n D m s L G x j k,
  (j < n)%nat -> (k < D)%nat -> differentiable n D L (frozen m s x) G ->
  is_partial (fun z => L (frozen m s z)) x j k (G j k / s k).

(** Statistics outside the graph: the forward pass is BN's, the Jacobian is diagonal,
    and every gradient passes. *)
Definition detached_forward : Prop := forall n eps x i d,
  detached n eps x x i d = bn n eps x i d.

Definition detached_jacobian : Prop := forall n eps x i d j k,
  is_partial (fun z => detached n eps x z i d) x j k (delta i j * delta d k / sigma n eps x k).

Definition detached_passes : Prop := forall n D eps L G x j k,
  (j < n)%nat -> (k < D)%nat -> differentiable n D L (bn n eps x) G ->
  is_partial (fun z => L (detached n eps x z)) x j k (G j k / sigma n eps x k).

(** * Images: statistics pool n samples times P positions *)

(** Blocked is a first-order term whose gradient is the same at every position ... *)
Definition images_T1 : Prop := forall n P D eps g y0 x j k,
  (1 <= n * P)%nat -> constant_over_positions P D g ->
  is_partial (fun z => first_term_images n P D g y0 (bn (n * P) eps z)) x j k 0.

(** ... and a diagonal for which curvature and expansion point are. *)
Definition images_T2 : Prop := forall n P D eps H y0 x i p k,
  (i < n)%nat -> (p < P)%nat -> (k < D)%nat -> 0 < var (n * P) x k + eps ->
  constant_over_positions P D H -> constant_over_positions P D y0 ->
  is_partial (fun z => diag_term_images n P D H y0 (bn (n * P) eps z)) x (row P i p) k
    (H p k * eps * (x (row P i p) k - mu (n * P) x k) / (var (n * P) x k + eps) ^ 2).

Definition images_T2_blocked : Prop := forall n P D H y0 x i p k,
  (i < n)%nat -> (p < P)%nat -> (k < D)%nat -> 0 < var (n * P) x k ->
  constant_over_positions P D H -> constant_over_positions P D y0 ->
  is_partial (fun z => diag_term_images n P D H y0 (bn (n * P) 0 z)) x (row P i p) k 0.

(** Each condition is needed. Two samples of two positions, 1 and 1, -1 and -1, one channel,
    eps = 0: half of the difference between the positions' gradients passes, ... *)
Definition images_pass_T1 : Prop := forall g y0,
  is_partial (fun z => first_term_images 2 2 1 g y0 (bn 4 0 z)) two_by_two 0 0
    (/ 2 * (g 0%nat 0%nat - g 1%nat 0%nat)).

(** ... half of that between their curvatures, ... *)
Definition images_pass_T2_curvature : Prop := forall H,
  is_partial (fun z => diag_term_images 2 2 1 H (fun _ _ => 0) (bn 4 0 z)) two_by_two 0 0
    (/ 2 * (H 0%nat 0%nat - H 1%nat 0%nat)).

(** ... and, of one curvature [h], half of the difference between their expansion points. *)
Definition images_pass_T2_point : Prop := forall h y0,
  is_partial (fun z => diag_term_images 2 2 1 (fun _ _ => h) y0 (bn 4 0 z)) two_by_two 0 0
    (/ 2 * h * (y0 1%nat 0%nat - y0 0%nat 0%nat)).

(** * T4 speaks of real training: softmax cross-entropy is differentiable *)

(** For every network behind the layer whose outputs [z i c] are differentiable functions of the
    layer's outputs (also of other samples'), with derivatives [J i c], and all labels [t i]. *)
Definition cross_entropy_differentiable : Prop := forall n D C z J t Y,
  (1 <= C)%nat -> (forall i, (i < n)%nat -> (t i < C)%nat) ->
  (forall i c, (i < n)%nat -> (c < C)%nat -> differentiable n D (z i c) Y (J i c)) ->
  differentiable n D
    (fun y => \sum_(i < n) cross_entropy C (fun c => z i c y) (t i)) Y
    (fun j d => \sum_(i < n) \sum_(c < C)
       (softmax C (fun a => z i a Y) c - delta c (t i)) * J i c j d).

(** It is minus the logarithm of the label's softmax. *)
Definition cross_entropy_is_log_softmax : Prop := forall C z t,
  (1 <= C)%nat -> cross_entropy C z t = - log (softmax C z t).

(** A linear layer with softmax cross-entropy, summed over the samples, behind batch normalization.
    (Training takes the mean: both sides divided by n.) *)
Definition T4_softmax_head : Prop := forall n D C eps gamma beta W b t x j k,
  (j < n)%nat -> (k < D)%nat -> 0 < var n x k + eps ->
  (1 <= C)%nat -> (forall i, (i < n)%nat -> (t i < C)%nat) ->
  is_partial
    (fun x' => \sum_(i < n)
       cross_entropy C (linear_head D W b (affine gamma beta (bn n eps x')) i) (t i)) x j k
    (gamma k * bn_backward n eps x
       (fun i d => \sum_(c < C)
          (softmax C (linear_head D W b (affine gamma beta (bn n eps x)) i) c - delta c (t i))
          * W c d) j k).

(** * T6: forward erasure *)

(** [y t] is a batch of [n t] samples that all have the label [t]; its features have mean 0.
    Then no linear head beats log C on average over the classes ... *)
Definition T6 : Prop := forall C D (n : nat -> nat) (y : nat -> batch) W b,
  (1 <= C)%nat -> (forall t, (t < C)%nat -> (1 <= n t)%nat) ->
  (forall t d, (t < C)%nat -> (d < D)%nat -> \mean_(i < n t) y t i d = 0) ->
  log (INR C) <= \mean_(t < C) \mean_(i < n t) cross_entropy C (linear_head D W b (y t) i) t.

(** ... so none behind batch normalization does, its affine phase included, whether or not the
    statistics are in the graph ... *)
Definition T6_bn : Prop := forall C D (n : nat -> nat) (x : nat -> batch) eps gamma beta W b,
  (1 <= C)%nat -> (forall t, (t < C)%nat -> (1 <= n t)%nat) ->
  log (INR C) <= \mean_(t < C) \mean_(i < n t)
    cross_entropy C (linear_head D W b (affine gamma beta (bn (n t) eps (x t))) i) t.

(** ... and none behind centering alone. *)
Definition T6_center : Prop := forall C D (n : nat -> nat) (x : nat -> batch) W b,
  (1 <= C)%nat -> (forall t, (t < C)%nat -> (1 <= n t)%nat) ->
  log (INR C) <= \mean_(t < C) \mean_(i < n t)
    cross_entropy C (linear_head D W b (center (n t) (x t)) i) t.

(** The bound is reached by weights 0. *)
Definition T6_attained : Prop := forall C D (n : nat -> nat) (y : nat -> batch),
  (1 <= C)%nat -> (forall t, (t < C)%nat -> (1 <= n t)%nat) ->
  \mean_(t < C) \mean_(i < n t)
    cross_entropy C (linear_head D (fun _ _ => 0) (fun _ => 0) (y t) i) t = log (INR C).

(** Without centering it does not hold: two classes, one sample each, one feature 0 or 1. *)
Definition T6_needs_centering : Prop :=
  \mean_(t < 2) \mean_(i < 1)
    cross_entropy 2 (linear_head 1 own_class_weights own_class_bias (own_class t) i) t < log 2.

(** * T7: batches of several losses *)

(** Sample [i] has the loss [t i], one of [K], whose gradient at the expansion point is [g (t i)].
    Centering takes their mixture from the first-order term ... *)
Definition T7_passes : Prop := forall n D K t g y0 x j k,
  (j < n)%nat -> (k < D)%nat -> (forall i, (i < n)%nat -> (t i < K)%nat) ->
  is_partial
    (fun z => \sum_(i < n) \sum_(d < D) g (t i) d * (center n z i d - y0 d)) x j k
    (g (t j) k - mixture K (share n t) g k).

(** ... so of its squared length it blocks the share |sum_k w_k g_k|^2 / sum_k w_k |g_k|^2: that is
    the squared length of what is taken away over that of the whole, and the rest passes. *)
Definition T7 : Prop := forall n D K t g,
  (1 <= n)%nat -> (forall i, (i < n)%nat -> (t i < K)%nat) ->
  \mean_(i < n) squared_length D (g (t i))
  = \sum_(k < K) share n t k * squared_length D (g k)
  /\ \mean_(i < n) squared_length D (fun d => g (t i) d - mixture K (share n t) g d)
     = \mean_(i < n) squared_length D (g (t i)) - squared_length D (mixture K (share n t) g).

(** The shares are shares. *)
Definition T7_shares : Prop := forall n K t,
  (1 <= n)%nat -> (forall i, (i < n)%nat -> (t i < K)%nat) -> \sum_(k < K) share n t k = 1.

(** Cross-entropy of [C] classes, its softmax uniform at the expansion point; the outputs' Jacobian
    rows [J c] have one squared length [l] and one inner product [m]. Then the share is
    (sum_k w_k^2 - 1/C) / (1 - 1/C). *)
Definition T7_alike : Prop := forall C D J l m w,
  (1 <= C)%nat -> \sum_(k < C) w k = 1 ->
  (forall c e, (c < C)%nat -> (e < C)%nat ->
    \sum_(d < D) J c d * J e d = if Nat.eqb c e then l else m) ->
  let g := fun k d => \sum_(c < C) (/ INR C - delta c k) * J c d in
  squared_length D (mixture C w g) * (1 - / INR C)
  = ((\sum_(k < C) w k ^ 2) - / INR C) * \sum_(k < C) w k * squared_length D (g k).

(** * How to read the statements *)

(** A partial derivative is one number: 0 and not 0 exclude each other. *)
Definition partial_unique : Prop := forall F x j k v w,
  is_partial F x j k v -> is_partial F x j k w -> v = w.

(** [upd] replaces one entry. *)
Definition upd_replaces : Prop := forall x j k t i d,
  upd x j k t j k = t /\ (i <> j \/ d <> k -> upd x j k t i d = x i d).

(** The sums are Coquelicot's, which counts the last index in. *)
Definition sum_is_coquelicots : Prop := forall m f,
  fsum (S m) f = sum_n f m.

(** [log] is the natural logarithm: the inverse of Coq's [exp]. *)
Definition log_inverts_exp : Prop := forall y, 0 < y -> exp (log y) = y.

(** One sample has no variance: at eps = 0 the theorems say nothing of n = 1. *)
Definition one_sample_has_no_variance : Prop := forall x d, var 1 x d = 0.
