(** Batch normalization, the Taylor terms of a loss, the closed forms of their gradients, and what
    batch normalization is compared with. *)
From Coq Require Import Reals Arith.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Export Basics Logarithm.
Open Scope R_scope.

(** * Batch normalization *)

Definition mu (n : nat) (x : batch) (d : nat) : R := \mean_(i < n) x i d.

(** The biased variance. *)
Definition var (n : nat) (x : batch) (d : nat) : R := \mean_(i < n) (x i d - mu n x d) ^ 2.

Definition sigma (n : nat) (eps : R) (x : batch) (d : nat) : R := sqrt (var n x d + eps).

(** The standardization phase ... *)
Definition bn (n : nat) (eps : R) (x : batch) : batch :=
  fun i d => (x i d - mu n x d) / sigma n eps x d.

(** ... and the affine phase. *)
Definition affine (gamma beta : vector) (y : batch) : batch :=
  fun i d => gamma d * y i d + beta d.

(** * The Taylor terms of a loss that all samples share, summed over the batch *)

(** Gradient [g] and Hessian [H] at the expansion point [y0]. *)
Definition first_term (n D : nat) (g y0 : vector) (y : batch) : R :=
  \sum_(i < n) \sum_(d < D) g d * (y i d - y0 d).

Definition diag_term (n D : nat) (H : matrix) (y0 : vector) (y : batch) : R :=
  / 2 * \sum_(i < n) \sum_(d < D) H d d * (y i d - y0 d) ^ 2.

Definition off_diagonal (H : matrix) : matrix := fun d e => if Nat.eqb d e then 0 else H d e.

Definition offdiag_term (n D : nat) (H : matrix) (y0 : vector) (y : batch) : R :=
  / 2 * \sum_(i < n) \sum_(d < D) \sum_(e < D)
    off_diagonal H d e * (y i d - y0 d) * (y i e - y0 e).

(** The model of second order itself: sum_i (c + g' v_i + v_i' H v_i / 2) with v_i = y_i - y0. *)
Definition taylor2 (n D : nat) (c : R) (g : vector) (H : matrix) (y0 : vector) (y : batch) : R :=
  \sum_(i < n) (c + \sum_(d < D) g d * (y i d - y0 d)
    + / 2 * \sum_(d < D) \sum_(e < D) H d e * (y i d - y0 d) * (y i e - y0 e)).

Definition symmetric (D : nat) (H : matrix) : Prop :=
  forall d e, (d < D)%nat -> (e < D)%nat -> H d e = H e d.

(** * The closed forms, under the names of the library's functions *)

(** [bnblind.bn_backward]: the gradient before the standardization phase, [G] the one after. *)
Definition bn_backward (n : nat) (eps : R) (x G : batch) : batch :=
  fun j k => / sigma n eps x k *
    (G j k - \mean_(i < n) G i k
     - bn n eps x j k * \mean_(i < n) bn n eps x i k * G i k).

(** [bnblind.experiments.theorems.diagonal_gradient]: the leak of the diagonal. *)
Definition diagonal_gradient (n : nat) (eps : R) (H : matrix) (x : batch) : batch :=
  fun j k => H k k * eps * (x j k - mu n x k) / (var n x k + eps) ^ 2.

(** The correlation of two features at eps = 0; in general the mean of their product. *)
Definition rho (n : nat) (eps : R) (x : batch) (d e : nat) : R :=
  \mean_(i < n) bn n eps x i d * bn n eps x i e.

(** [bnblind.experiments.theorems.off_diagonal_gradient]. *)
Definition off_diagonal_gradient (n D : nat) (eps : R) (H : matrix) (x : batch) : batch :=
  fun j k => / sigma n eps x k *
    \sum_(e < D) off_diagonal H k e * (bn n eps x j e - rho n eps x k e * bn n eps x j k).

(** * The controls: batch normalization in part *)

(** [bn_center]: subtract the batch mean only. *)
Definition center (n : nat) (x : batch) : batch := fun i d => x i d - mu n x d.

(** [bn_scale]: divide by the batch's standard deviation only. *)
Definition scale (n : nat) (eps : R) (x : batch) : batch := fun i d => x i d / sigma n eps x d.

(** [bn_frozen], and BN in evaluation mode: standardize with constants. *)
Definition frozen (m s : vector) (x : batch) : batch := fun i d => (x i d - m d) / s d.

(** [bn_detached]: with the statistics of the batch [x0], which the gradient takes as constants;
    a training step has [x0 = x]. *)
Definition detached (n : nat) (eps : R) (x0 : batch) : batch -> batch :=
  frozen (mu n x0) (sigma n eps x0).

(** * Images: [P] positions a sample; each sample and position is a row of the pooled batch *)

Definition row (P i p : nat) : nat := (i * P + p)%nat.

(** First order and Hessian's diagonal at position [p]: [g p d], [H p d], expanded at [y0 p d]. *)
Definition first_term_images (n P D : nat) (g y0 : matrix) (y : batch) : R :=
  \sum_(i < n) \sum_(p < P) \sum_(d < D) g p d * (y (row P i p) d - y0 p d).

Definition diag_term_images (n P D : nat) (H y0 : matrix) (y : batch) : R :=
  / 2 * \sum_(i < n) \sum_(p < P) \sum_(d < D) H p d * (y (row P i p) d - y0 p d) ^ 2.

Definition constant_over_positions (P D : nat) (f : matrix) : Prop :=
  forall p q d, (p < P)%nat -> (q < P)%nat -> (d < D)%nat -> f p d = f q d.

(** * Softmax cross-entropy *)

(** [z c]: output (logit) of class [c < C]. *)
Definition softmax (C : nat) (z : vector) (c : nat) : R :=
  exp (z c) / \sum_(a < C) exp (z a).

Definition cross_entropy (C : nat) (z : vector) (t : nat) : R :=
  log (\sum_(a < C) exp (z a)) - z t.

(** A linear head: the outputs of sample [i]. *)
Definition linear_head (D : nat) (W : matrix) (b : vector) (y : batch) (i c : nat) : R :=
  (\sum_(d < D) W c d * y i d) + b c.

(** * Batches of several losses *)

(** The share of the samples that have the loss [k]; [t i] is that of sample [i]. *)
Definition share (n : nat) (t : nat -> nat) (k : nat) : R := \mean_(i < n) delta (t i) k.

(** The mean of [K] gradients, weighted. *)
Definition mixture (K : nat) (w : vector) (g : matrix) : vector :=
  fun d => \sum_(k < K) w k * g k d.

Definition squared_length (D : nat) (v : vector) : R := \sum_(d < D) v d ^ 2.

(** * The batches at which some statements are read *)

(** The samples 0 and 1: mean 1/2, variance 1/4. *)
Definition two : batch := fun i _ => INR i.

(** The corners (1, 1), (1, -1), (-1, 1), (-1, -1) of a square: two features of variance 1 that do
    not predict each other. *)
Definition four : batch := fun i d =>
  match d, i with
  | O, (0 | 1)%nat => 1 | O, _ => -1
  | _, (0 | 2)%nat => 1 | _, _ => -1
  end.

(** Two samples of two positions, 1 and 1, -1 and -1. *)
Definition two_by_two : batch := fun r _ => if Nat.ltb r 2 then 1 else -1.

(** Two classes of one sample each, whose one feature is the class; and a linear head. *)
Definition own_class (t : nat) : batch := fun _ _ => INR t.

Definition own_class_weights : matrix := fun c _ => 4 * INR c.

Definition own_class_bias : vector := fun c => -2 * INR c.
